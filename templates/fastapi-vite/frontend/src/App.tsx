import { useEffect, useState } from "react";

import { api } from "./api";

interface Greeting {
  message: string;
}

export function App() {
  const [greeting, setGreeting] = useState("Waiting for the backend");

  useEffect(() => {
    const leaving = new AbortController();
    api<Greeting>("greeting", { signal: leaving.signal })
      .then(({ message }) => setGreeting(message))
      .catch((error: unknown) => {
        if (!leaving.signal.aborted) setGreeting(`The backend does not answer: ${String(error)}`);
      });
    return () => leaving.abort();
  }, []);

  return (
    <main>
      <h1>Your app starts here</h1>
      <p>
        Describe what you want to build in the chat, or edit <code>frontend/src/App.tsx</code>: this page follows.
      </p>
      <p role="status">{greeting}</p>
    </main>
  );
}

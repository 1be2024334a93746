export default function Home() {
  return (
    <main>
      <h1>Your app starts here</h1>
      <p>
        Describe what you want to build in the chat, or edit <code>app/page.tsx</code>: this page follows.
      </p>
    </main>
  );
}

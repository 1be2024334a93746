import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Where the app is served: "/apps/demo" behind a gateway, "" at the root. It is baked in when the page is built.
const base = `${(process.env.BASE_PATH ?? "").replace(/\/+$/, "")}/`;

export default defineConfig({
  base,
  plugins: [react()],
  server: {
    allowedHosts: true,
    proxy: {
      [`${base}api`]: {
        target: process.env.BACKEND_URL ?? "http://127.0.0.1:8000",
        rewrite: (path) => path.slice(base.length - 1),
      },
    },
  },
});

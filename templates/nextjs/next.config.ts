import type { NextConfig } from "next";

// Where the app is served: "/apps/demo" behind a gateway, "" at the root. It is baked in when the app is built.
const basePath = process.env.BASE_PATH ?? "";

// Hosts, besides this one, from which the dev server may be opened: "preview.example.org,10.0.0.7".
const allowedDevOrigins = (process.env.DEV_ORIGINS ?? "").split(",").filter(Boolean);

const config: NextConfig = {
  basePath,
  allowedDevOrigins,
  output: "standalone",
  poweredByHeader: false,
  reactStrictMode: true,
  env: { NEXT_PUBLIC_BASE_PATH: basePath },
};

export default config;

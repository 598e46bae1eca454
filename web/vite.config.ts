import { defineConfig } from "vite";

// The build goes to a folder that git ignores; publish.mjs puts it where the binary embeds it from.
export default defineConfig({
  build: {
    outDir: "node_modules/.quartet-dist",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // the first with light-dark()
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    port: 5173,
    proxy: { "/api/dashboard": { target: "http://127.0.0.1:8288", changeOrigin: true } },
  },
});

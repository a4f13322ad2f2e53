import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // the built page works below any address
  build: { target: "es2022" }, // for the `await` at the top of main.ts
});

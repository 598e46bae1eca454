import type { NextConfig } from "next";

export default { devIndicators: false, serverExternalPackages: ["bullmq", "ioredis"] } satisfies NextConfig;

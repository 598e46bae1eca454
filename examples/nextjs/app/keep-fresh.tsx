"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";

/** Asks for the page again every second while somebody looks at it, since functions change what it shows. */
export function KeepFresh() {
  const router = useRouter();
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && router.refresh(), 1000);
    return () => clearInterval(timer);
  }, [router]);
  return null;
}

import type { Metadata, Viewport } from "next";
import Link from "next/link";
import type { ReactNode } from "react";
import "./globals.css";

export const metadata: Metadata = { title: "Paperboat", description: "Notes that float. An example app for Quartet." };
export const viewport: Viewport = { colorScheme: "light dark" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header>
          <Link href="/">Paperboat</Link>
          <Link href="/imports">Contacts</Link>
        </header>
        <main>{children}</main>
      </body>
    </html>
  );
}

import { expect, test } from "vitest";
import { errorParts, ExactNumber, format, problem, stackFrames } from "./json";

test("format is what JSON.stringify gives, and keeps exact numbers", () => {
  for (const v of [null, 1, "a\n\"b", true, [], {}, [1, [2]], { a: { b: [{}, null] }, "c d": "é" }]) expect(format(v)).toBe(JSON.stringify(v, null, 2));
  expect(format({ a: [1, 2] }, 0)).toBe('{"a":[1,2]}');
  expect(format({ id: new ExactNumber("9007199254740993") }, 0)).toBe('{"id":9007199254740993}');
});

test("problem says what is wrong and in which line", () => {
  expect(problem('{"a": 1}')).toBe("");
  expect(problem('{\n"a": 1 "b": 2}')).toContain("line 2");
});

test("errors are read as every SDK writes them", () => {
  const e = errorParts({ name: "TypeError", message: "no", stack: "TypeError: no\n    at a.js:1\n    at b.js:2", code: 7, __serialized: true });
  expect(e).toMatchObject({ name: "TypeError", message: "no", rest: { code: 7 } });
  expect(e && stackFrames(e)).toBe("    at a.js:1\n    at b.js:2");
  expect(errorParts("plain")).toMatchObject({ message: "plain" });
  expect(errorParts({ code: 7 })).toBeUndefined();
  expect(errorParts(null)).toBeUndefined();
});

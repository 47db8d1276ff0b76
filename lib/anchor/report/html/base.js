"use strict";
// The report's page: everything it shows comes from the JSON in this file. Views read a shared state (which run,
// which metric, which head, which knob value) and are drawn anew when it changes.

const data = JSON.parse(document.getElementById("data").textContent);

const SVG = "http://www.w3.org/2000/svg";
function make(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.setAttribute("class", value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}
function bytes(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
function unpack(Type, text) { return text ? new Type(bytes(text).buffer) : new Type(0); }
const color = (x) => "#" + data.palette.substr(6 * Math.round(255 * Math.min(1, Math.max(0, x))), 6);
function ink(background) {
  const value = parseInt(background.slice(1), 16);
  return 0.299 * (value >> 16) + 0.587 * (value >> 8 & 255) + 0.114 * (value & 255) > 140 ? "#000" : "#fff";
}
function number(value, digits = 4) {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return String(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(Math.max(digits, 4))));
}
const percent = (value) => Number.isNaN(value) ? "–" : (100 * value).toFixed(value > 0.9995 || value < 0.1 ? 2 : 1) + " %";
const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
const fromRow = (value) => value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
const command = (argv) => (argv || []).map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'").join(" ");
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999933"]; // Okabe and Ito

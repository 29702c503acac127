// The page: an image in; score, decision and heatmap out. Nothing is sent anywhere.

import * as ort from "./ort/ort.wasm.min.mjs";
import { examine, prepare, resizeBicubic, resizeMap } from "./fbclip.js";

const COLOURS = [[35, 60, 200], [30, 170, 230], [95, 210, 100], [250, 200, 40], [205, 20, 20]]; // of 0 to 1
const HALF_OPAQUE = 0.25;
const MAP_WEIGHT = 0.6;
const MOST_PIXELS = 4e6; // of the pictures on the page

const element = (id) => document.getElementById(id);

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a static page does not set
const loaded = load();

async function load() {
  const response = await fetch("processor_config.json");
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  element("status").textContent = "Ready.";
  return [await response.json(), session];
}

async function show(file) {
  element("status").textContent = "Examining …";
  try {
    const [settings, session] = await loaded;
    const picture = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const { width, height } = settings.image_processor.size;
    const pixels = resizeBicubic(read(picture), picture.width, picture.height, width, height);
    const input = new ort.Tensor("float32", prepare(pixels, settings), [1, 3, height, width]);
    const { image_scores: scores, anomaly_maps: maps } = await session.run({ pixel_values: input });
    const result = examine(scores.data[0], maps.data, maps.dims[2], maps.dims[1], settings);
    draw(picture, result);
    element("label").textContent = result.label;
    element("score").textContent = result.score.toFixed(4);
    element("label").parentElement.classList.toggle("anomalous", result.label === "anomalous");
    element("result").hidden = false;
    element("status").textContent = `${file.name} is done.`;
    window.lastResult = result; // for whoever wants the numbers
  } catch (error) {
    element("status").textContent = `${file.name} cannot be examined: ${error.message}`;
  }
}

/** The RGB pixels of a picture; transparent ones are white. */
function read(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, picture.width, picture.height);
  const pixels = new Uint8ClampedArray((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) pixels.set(data.subarray(from, from + 3), to);
  return pixels;
}

function draw(picture, result) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (picture.width * picture.height)));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  for (const id of ["photo", "map"]) Object.assign(element(id), { width, height });
  element("photo").getContext("2d").drawImage(picture, 0, 0, width, height);
  const values = resizeMap(result.map, result.width, result.height, width, height);
  const context = element("map").getContext("2d");
  const image = context.createImageData(width, height);
  values.forEach((value, index) => image.data.set(colour(value), index * 4));
  context.putImageData(image, 0, 0);
}

/** Red, green, blue and opacity of a value: good material stays as it is. */
function colour(value) {
  const place = value * (COLOURS.length - 1);
  const low = Math.min(Math.floor(place), COLOURS.length - 2);
  const mixed = COLOURS[low].map((channel, index) => channel + (COLOURS[low + 1][index] - channel) * (place - low));
  const weight = (value ** 2 / (value ** 2 + HALF_OPAQUE ** 2)) * (1 + HALF_OPAQUE ** 2);
  return [...mixed, 255 * MAP_WEIGHT * weight];
}

element("file").addEventListener("change", ({ target }) => target.files[0] && show(target.files[0]));
element("alpha").addEventListener("input", ({ target }) => { element("map").style.opacity = target.value; });
for (const type of ["dragover", "dragleave", "drop"]) {
  element("drop").addEventListener(type, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", type === "dragover");
    if (type === "drop" && event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
  });
}
loaded.catch((error) => { element("status").textContent = `The model cannot be loaded: ${error.message}`; });

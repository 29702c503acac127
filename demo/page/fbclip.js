// What the processor does before and after the model: the same numbers as in Python.

const CHANNELS = 3;

/** RGB pixels, resized by Pillow's bicubic filter with antialiasing, rows first, rounded to 8 bits after each step. */
export function resizeBicubic(pixels, width, height, newWidth, newHeight) {
  const rows = resizeAlong(pixels, width, height, newWidth, CHANNELS, width * CHANNELS, newWidth * CHANNELS);
  return resizeAlong(rows, height, newWidth, newHeight, newWidth * CHANNELS, CHANNELS, CHANNELS);
}

function resizeAlong(pixels, length, lines, newLength, step, lineStep, newLineStep) {
  const result = new Uint8ClampedArray(newLength * lines * CHANNELS);
  const scale = length / newLength;
  const stretch = Math.max(scale, 1);
  for (let place = 0; place < newLength; place++) {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 2 * stretch + 0.5));
    const end = Math.min(length, Math.floor(centre + 2 * stretch + 0.5));
    const weights = [];
    for (let index = first; index < end; index++) weights.push(bicubic((index - centre + 0.5) / stretch));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < CHANNELS; channel++) {
        let value = 0;
        for (let index = first; index < end; index++) {
          value += weights[index - first] * pixels[line * lineStep + index * step + channel];
        }
        result[line * newLineStep + place * step + channel] = Math.floor(value / total + 0.5);
      }
    }
  }
  return result;
}

function bicubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
}

/** The model's input, channels first, of RGB pixels at the model's size. */
export function prepare(pixels, settings) {
  const { rescale_factor: factor, image_mean: mean, image_std: deviation } = settings.image_processor;
  const count = pixels.length / CHANNELS;
  const values = new Float32Array(pixels.length);
  for (let channel = 0; channel < CHANNELS; channel++) {
    for (let index = 0; index < count; index++) {
      const value = pixels[index * CHANNELS + channel] * factor;
      values[channel * count + index] = (value - mean[channel]) / deviation[channel];
    }
  }
  return values;
}

/** A map of values, row by row, resized bilinearly. */
export function resizeMap(map, width, height, newWidth, newHeight) {
  const across = places(width, newWidth);
  const result = new Float32Array(newWidth * newHeight);
  places(height, newHeight).forEach(([top, bottom, down], y) => {
    across.forEach(([left, right, along], x) => {
      const above = map[top * width + left] * (1 - along) + map[top * width + right] * along;
      const below = map[bottom * width + left] * (1 - along) + map[bottom * width + right] * along;
      result[y * newWidth + x] = above * (1 - down) + below * down;
    });
  });
  return result;
}

function places(length, newLength) {
  return Array.from({ length: newLength }, (_, index) => {
    const place = Math.max(((index + 0.5) * length) / newLength - 0.5, 0);
    const low = Math.floor(place);
    return [low, Math.min(low + 1, length - 1), place - low];
  });
}

/** A map after a Gaussian filter that ends at 4 sigma; edges are mirrored. */
export function smooth(map, width, height, sigma) {
  const radius = Math.floor(4 * sigma + 0.5);
  if (radius === 0) return map;
  const kernel = Array.from({ length: 2 * radius + 1 }, (_, index) => Math.exp(-0.5 * ((index - radius) / sigma) ** 2));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  const rows = smoothAlong(map, width, height, 1, width, kernel, total);
  return smoothAlong(rows, height, width, width, 1, kernel, total);
}

function smoothAlong(map, length, lines, step, lineStep, kernel, total) {
  const result = new Float32Array(map.length);
  const radius = (kernel.length - 1) / 2;
  for (let line = 0; line < lines; line++) {
    for (let place = 0; place < length; place++) {
      let value = 0;
      kernel.forEach((weight, index) => {
        const wrapped = (((place + index - radius) % (2 * length)) + 2 * length) % (2 * length);
        value += weight * map[line * lineStep + Math.min(wrapped, 2 * length - 1 - wrapped) * step];
      });
      result[line * lineStep + place * step] = value / total;
    }
  }
  return result;
}

/** Score, decision and map at the model's size, from the graph's outputs. */
export function examine(imageScore, map, gridWidth, gridHeight, settings) {
  const { width, height } = settings.image_processor.size;
  const large = resizeMap(map, gridWidth, gridHeight, width, height);
  const smoothed = smooth(large, width, height, settings.smoothing_sigma).map((value) => Math.min(Math.max(value, 0), 1));
  const sorted = Float32Array.from(smoothed).sort().reverse();
  const top = sorted.subarray(0, Math.ceil(0.01 * sorted.length));
  const scores = { cls: imageScore, map_max: sorted[0], map_top1: top.reduce((sum, value) => sum + value, 0) / top.length };
  const score = scores[settings.score];
  return { score, label: score >= settings.threshold ? "anomalous" : "normal", map: smoothed, width, height };
}

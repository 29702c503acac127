// Regions of an anomaly map, as `fbclip detect` has them, for whatever contour the visitor sets.

// The connected areas from a value on, the highest peak first, and for each pixel the number of its area.
function findRegions(levels, width, height, border) {
  const numbers = new Int32Array(width * height), regions = [];
  for (let first = 0; first < numbers.length; first++) {
    if (numbers[first] || levels[4 * first] < border) continue;
    const region = { number: regions.length + 1, area: 0, peak: 0, left: width, top: height, right: 0, bottom: 0 };
    const waiting = [first];
    numbers[first] = region.number;
    while (waiting.length) {
      const pixel = waiting.pop(), x = pixel % width, y = (pixel - x) / width;
      region.area++;
      region.peak = Math.max(region.peak, levels[4 * pixel] / 255);
      [region.left, region.right] = [Math.min(region.left, x), Math.max(region.right, x + 1)];
      [region.top, region.bottom] = [Math.min(region.top, y), Math.max(region.bottom, y + 1)];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (!numbers[next] && levels[4 * next] >= border) {
            numbers[next] = region.number;
            waiting.push(next);
          }
        }
      }
    }
    regions.push(region);
  }
  return { numbers, regions };
}

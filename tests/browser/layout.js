// What of a page cannot be read: an expression that gives a list of texts, for the viewport and the
// colour scheme that the page has.
(() => {
  const SMALLEST = 9, CONTRAST = 3.5, SLACK = 1.5;
  const width = document.documentElement.clientWidth, wrong = [], boxes = [];
  const shown = (element) => element.getClientRects().length > 0;
  const place = (element) => {
    const section = element.closest("section");
    return `${section ? section.id : "header"}: ${element.textContent.trim().slice(0, 40)}`;
  };
  const outside = (rect) => rect.left < -SLACK || rect.right > width + SLACK;

  if (document.documentElement.scrollWidth > width) {
    wrong.push(`the page is ${document.documentElement.scrollWidth} wide, not ${width}`);
  }
  for (const element of document.querySelectorAll("figure, figure svg, section, .scroll, .card, pre")) {
    if (shown(element) && outside(element.getBoundingClientRect())) {
      wrong.push(`${element.tagName} leaves the viewport, ${place(element)}`);
    }
  }

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) wrong.push("two elements have one id");

  // Figures: text inside its drawing, and large enough.
  let figures = 0;
  for (const drawing of [...document.querySelectorAll("figure svg")].filter(shown)) {
    figures += 1;
    const frame = drawing.getBoundingClientRect();
    const scale = frame.width / drawing.viewBox.baseVal.width;
    for (const text of drawing.querySelectorAll("text")) {
      const rect = text.getBoundingClientRect();
      if (rect.left < frame.left - SLACK || rect.right > frame.right + SLACK ||
          rect.top < frame.top - SLACK || rect.bottom > frame.bottom + SLACK) {
        wrong.push(`text leaves its drawing, ${place(text)}`);
      }
      const size = scale * parseFloat(getComputedStyle(text).fontSize);
      if (size < SMALLEST) wrong.push(`text of ${size.toFixed(1)} px, ${place(text)}`);
    }
  }

  // Boxes that cut or spill their text; tables may be scrolled sideways.
  for (const element of document.querySelectorAll(
      "h1, h2, h3, p, a, figcaption, .card, .card div, .legend span, .tile, td, th, pre, footer")) {
    if (shown(element) && element.scrollWidth > element.clientWidth + SLACK &&
        getComputedStyle(element).display !== "inline") {
      wrong.push(`text overflows its box, ${place(element)}`);
    }
  }

  // Every piece of text: not above another one, and in a colour that stands out.
  const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) =>
    0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const parse = (colour) => {
    const numbers = (colour.match(/[\d.]+/g) || []).map(Number);
    return colour.startsWith("color(") ? numbers.map((n, i) => (i < 3 ? 255 * n : n)) : numbers;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || (colour.length === 4 && colour[3] > 0.9)) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !shown(element) || element.closest("title, style")) continue;
    const drawn = element.closest("svg") !== null, style = getComputedStyle(element);
    const [a, b] = [parse(drawn ? style.fill : style.color), ground(element)].map(luminance);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < CONTRAST) wrong.push(`contrast ${contrast.toFixed(1)}, ${place(element)}`);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      if (rect.width > 1) boxes.push({ rect, node, element });
    }
  }
  boxes.sort((a, b) => a.rect.top - b.rect.top);
  boxes.forEach((one, i) => {
    for (let k = i + 1; k < boxes.length && boxes[k].rect.top < one.rect.bottom - SLACK; k += 1) {
      const other = boxes[k];
      if (other.node !== one.node &&
          Math.min(one.rect.right, other.rect.right) - Math.max(one.rect.left, other.rect.left) > SLACK &&
          Math.min(one.rect.bottom, other.rect.bottom) - other.rect.top > 2 * SLACK) {
        wrong.push(`text over text, ${place(one.element)} and ${place(other.element)}`);
      }
    }
  });
  return { figures, texts: boxes.length, wrong: [...new Set(wrong)],
           dark: luminance(ground(document.body)) < 0.2 };
})()

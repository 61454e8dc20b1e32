// Figures open at a tap, and cells of prose do not shrink to one word a line on a phone.
for (const image of document.querySelectorAll("article img")) {
  const link = document.createElement("a");
  link.href = image.src;
  image.replaceWith(link);
  link.append(image);
}
for (const cell of document.querySelectorAll("article td")) {
  if (cell.textContent.length > 40) cell.style.minWidth = "11em";
}

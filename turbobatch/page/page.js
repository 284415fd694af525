
"use strict";
for (const box of document.querySelectorAll("input[type=search]")) {
    const rows = [...document.getElementById(box.dataset.rows).tBodies[0].rows];
    const texts = rows.map(row => [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase());
    const place = box.closest(".search");
    const look = () => {
        const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        rows.forEach((row, number) => {
            row.hidden = !words.every(word => texts[number].includes(word));
            shown += !row.hidden;
        });
        place.querySelector("output").textContent = words.length ? `${shown} of ${rows.length}` : "";
    };
    box.addEventListener("input", look);
    place.hidden = false;
    look();
}

// Before a page is printed its proofs are opened, and closed again after; browsers that cannot open them by style need this.
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.sd-dropdown:not([open])")];
    opened.forEach((proof) => { proof.open = true; });
  });
  addEventListener("afterprint", () => {
    opened.forEach((proof) => { proof.open = false; });
  });
})();

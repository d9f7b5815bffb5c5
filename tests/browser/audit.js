// The checks of tests/browser/test_accessibility.py: each function of window.audit lists the faults of a page.
(() => {
  // All elements of the page, in shadow roots too.
  const within = (root) => [...root.querySelectorAll("*")].flatMap((one) => [one, ...(one.shadowRoot ? within(one.shadowRoot) : [])]);
  const shown = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !one.closest("[inert]");

  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  function rgba(colour) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }
  /** WCAG's relative luminance. */
  function luminance(colour) {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  /** The nearest ground that is painted behind an element. */
  function ground(one) {
    for (; one; one = one.parentElement || one.getRootNode().host) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  }
  function ratio(one, colour) {
    const [dark, light] = [luminance(rgba(colour)), luminance(ground(one))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  window.audit = {
    /** SC 1.4.3; what stands on a picture, and what cannot be pressed, is left to people. */
    lowContrast() {
      const found = [];
      for (const one of within(document.body)) {
        const texts = [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim());
        const text = texts.filter(Boolean).join(" ") || one.placeholder;
        if (!text || !shown(one) || one.closest(".hero, .skip, [aria-disabled=true]")) continue;
        const style = getComputedStyle(one);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const colour = one.placeholder ? getComputedStyle(one, "::placeholder").color : style.color;
        if (ratio(one, colour) < (large ? 3 : 4.5)) found.push(`${text.slice(0, 40)}: ${ratio(one, colour).toFixed(2)}`);
      }
      return found;
    },

    /** SC 2.5.8: 24 pixels each way; a link within a sentence is exempt. */
    smallTargets() {
      return within(document.body)
        .filter((one) => one.matches("a[href], button, input, summary") && shown(one) && !one.matches("p a, .skip"))
        .map((one) => [one, one.getBoundingClientRect()])
        .filter(([, box]) => box.width < 24 || box.height < 24)
        .map(([one, box]) => `${one.textContent.trim().slice(0, 30)}: ${box.width.toFixed()} x ${box.height.toFixed()}`);
    },

    /** SC 1.4.10. */
    wide() {
      return document.documentElement.scrollWidth > innerWidth ? ["wider than the screen"] : [];
    },

    /** What has the focus: its name, and the contrast of the ring around it (SC 2.4.7, 1.4.11); null at the page's end. */
    focused() {
      let one = document.activeElement;
      while (one.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
      if (one === document.body) return null;
      const style = getComputedStyle(one);
      const ring = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2;
      return [one.ariaLabel || one.textContent.trim() || one.placeholder, ring ? ratio(one.parentElement || one, style.outlineColor) : 0];
    },
  };
})();

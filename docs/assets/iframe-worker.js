// Search without a server. Browsers start no worker from a file on the disk; there, its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      // Scripts are loaded one after another, as the real function does; it returns before they are there.
      let loaded = Promise.resolve()
      const load = source => new Promise((done, failed) => {
        const script = inside.document.createElement("script")
        Object.assign(script, { src: new URL(source, location.href), onload: done, onerror: failed })
        inside.document.body.append(script)
      })
      inside.importScripts = (...sources) => {
        for (const source of sources) loaded = loaded.then(() => load(source))
        return loaded
      }
      this.ready = load(url)
      this.inside = inside
    }
    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
    set onmessage(listener) {
      this.addEventListener("message", listener)
    }
  }
}

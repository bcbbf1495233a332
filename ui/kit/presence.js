// Tells when the page is put away (another tab is in front, the telephone is locked) and when it is looked at again.
export default {
  template: `<span hidden></span>`,
  emits: ["looking"],
  mounted() {
    this.tell = () => this.$emit("looking", !document.hidden);
    document.addEventListener("visibilitychange", this.tell);
    if (document.hidden) this.tellWhenHeard();  // it was opened behind another
  },
  unmounted() {
    document.removeEventListener("visibilitychange", this.tell);
    clearTimeout(this.timer);
  },
  methods: {
    tellWhenHeard() {
      if (window.did_handshake) this.tell();
      else this.timer = setTimeout(this.tellWhenHeard, 100);
    },
  },
};

// A native control that keeps what its visitor puts in until the box puts in something else. Given to Vue as a plain element
// it would be reset to what the box knew last whenever anything on the page changes.
export default {
  template: `<component :is="tag"><slot></slot></component>`,
  props: { tag: String, value: String, revision: Number },
  mounted() { this.$el.value = this.value; },
  methods: {
    focus() { this.$nextTick(() => this.$el.focus()); },  // it may only now be shown
  },
  watch: {
    revision() { this.$el.value = this.value; },
  },
};

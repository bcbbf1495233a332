// Two or three ways to be, one of which is in force. Shows a choice at once, and then what the box says of it.
export default {
  template: `
    <fieldset class="mode-switch" :aria-describedby="describedby" :aria-busy="busy">
      <legend>{{ legend }}</legend>
      <div class="segments">
        <label v-for="option in options" :key="option.value" :class="{ chosen: option.value === shown }">
          <input type="radio" :name="name" :value="option.value" :checked="option.value === shown"
                 @change="choose(option.value)" @keydown.enter.prevent="choose(option.value)">
          <span>{{ option.label }}</span>
        </label>
      </div>
      <p class="hint muted small">{{ hint }}</p>
      <p v-if="error" :id="describedby" class="wrong" role="alert">{{ error }}</p>
    </fieldset>`,
  props: { legend: String, options: Array, value: String, revision: Number, error: String, name: String },
  emits: ["choose"],
  data() {
    return { shown: this.value, busy: false };
  },
  computed: {
    describedby() { return `${this.name}-error`; },
    hint() { return (this.options.find((option) => option.value === this.shown) || {}).hint || ""; },
  },
  watch: {
    revision() { this.settle(); },
    value() { this.settle(); },
  },
  methods: {
    settle() {
      this.shown = this.value;
      this.busy = false;
      this.$nextTick(() => {  // a radio that was pressed keeps its own mark, whatever Vue thinks of it
        for (const input of this.$el.querySelectorAll("input")) input.checked = input.value === this.shown;
      });
    },
    choose(value) {
      this.shown = value;
      this.busy = true;
      this.$emit("choose", value);
    },
  },
};

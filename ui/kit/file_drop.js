// A place to drop a file, a button to choose one, and on phones one to take a picture. The file goes to `url` as a form; how
// far it is and what went wrong is said right here.
export default {
  template: `
    <div class="drop" :class="{ over }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="dropped">
      <p v-if="hint" class="muted small">{{ hint }}</p>
      <div class="actions" v-show="!name">
        <span class="button primary"><span>{{ label }}</span><input type="file" :accept="accept" :aria-label="label" @change="chosen"></span>
        <span v-if="camera" class="button"><span>{{ camera }}</span><input type="file" accept="image/*" capture="environment" :aria-label="camera" @change="chosen"></span>
      </div>
      <p v-if="!name" class="muted small by-mouse">or drop it here</p>
      <div v-if="name" class="working" role="status">
        <span class="wrap">{{ sent ? working : "Sending" }} {{ name }}</span>
        <progress v-if="!sent" max="100" :value="percent" :aria-label="'Sending ' + name">{{ percent }} %</progress>
        <progress v-else :aria-label="working"></progress>
        <button type="button" class="button quiet" @click="cancel">Cancel</button>
      </div>
      <p v-if="wrong" class="wrong" role="alert">{{ wrong }}</p>
    </div>`,
  props: { url: String, label: String, camera: String, hint: String, accept: String, field: String, working: String, most: Number },
  emits: ["done"],
  data() {
    return { over: false, name: "", percent: 0, sent: false, wrong: "" };
  },
  unmounted() { this.request && this.request.abort(); },
  methods: {
    chosen(event) {
      const [file] = event.target.files;
      if (file) this.send(file);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      const [file] = event.dataTransfer.files;
      if (file && !this.name) this.send(file);
    },
    cancel() {
      this.request && this.request.abort();
      this.name = "";
    },
    send(file) {
      this.wrong = "";
      if (this.most && file.size > this.most) {
        this.wrong = `${file.name} has ${Math.ceil(file.size / 2 ** 20)} MiB; at most ${Math.floor(this.most / 2 ** 20)} MiB are taken.`;
        return;
      }
      Object.assign(this, { name: file.name, percent: 0, sent: false });
      const request = (this.request = new XMLHttpRequest());
      const form = new FormData();
      form.append(this.field, file, file.name);
      request.upload.onprogress = (event) => { this.percent = event.lengthComputable ? Math.round((100 * event.loaded) / event.total) : 0; };
      request.upload.onload = () => { this.sent = true; };
      request.onload = () => {
        this.name = "";
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* no sentence in it */ }
        const good = request.status >= 200 && request.status < 300;
        if (!good) this.wrong = typeof answer.detail === "string" ? answer.detail : `The box answered ${request.status}.`;
        this.$emit("done", { good, status: request.status, name: file.name });
      };
      request.onerror = () => {
        this.name = "";
        this.wrong = "The box cannot be reached. Look whether this device is still in its network, then try again.";
      };
      request.open("POST", (this.url.startsWith("/") ? window.path_prefix || "" : "") + this.url);
      request.send(form);
    },
  },
};

// Sends what was typed, says what the box answers, and goes on. `told` holds `to` (the route) and `wanted` (the page).
const form = document.querySelector("form");
const button = form.querySelector("button");
const wrong = document.getElementById("wrong");
const fields = [...form.querySelectorAll(".field input")];

const say = (sentence, field) => {
  wrong.textContent = sentence;
  for (const each of fields) each.setAttribute("aria-invalid", String(each === field));
  if (field) field.focus();
};

const wait = (sentence, seconds) => {
  const until = Date.now() + 1000 * seconds;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    if (left > 0) setTimeout(tick, 250);
    else say("");
  };
  say(`${sentence} (${seconds} s).`);
  tick();
};

const complaint = () => {
  for (const each of fields) {
    const label = document.querySelector(`label[for="${each.id}"]`).textContent;
    if (!each.value) return [`${label}: this is empty.`, each];
    if (each.minLength > 0 && each.value.length < each.minLength)
      return [`${label}: ${each.minLength} characters or more are due.`, each];
  }
  const again = form.elements.again;
  if (again && again.value !== form.elements.password.value) return ["The two passwords are not the same.", again];
  return null;
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const found = complaint();
  if (found) return say(...found);
  say("");
  button.disabled = true;
  const body = JSON.stringify(
    Object.fromEntries(fields.filter((each) => each.name !== "again").map((each) => [each.name, each.value])),
  );
  try {
    const answer = await fetch(told.to, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const { detail } = await answer.json().catch(() => ({ detail: `The box answered ${answer.status}.` }));
    if (answer.ok) return location.replace(told.wanted);
    const seconds = Number(answer.headers.get("Retry-After"));
    button.disabled = false;
    if (answer.status === 429 && seconds) wait(detail, seconds);
    else say(detail, fields[0]);
  } catch {
    button.disabled = false;
    say("The box does not answer. Look whether it is switched on and on this network, then try again.");
  }
});

document.getElementById("show").addEventListener("change", (event) => {
  for (const each of fields) if (each.id !== "code") each.type = event.target.checked ? "text" : "password";
});

// A link from another site comes without the cookie: whoever has logged in already is sent on.
const standing = async () => {
  const { kind, claimed } = await (await fetch("/api/v1/login", { cache: "no-store" })).json();
  if (claimed && kind !== "stranger") location.replace(told.wanted);
};
standing().catch(() => {});

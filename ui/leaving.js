// A page whose visitor is not let in any more leads to the door, which says so: a session ends, a network is distrusted.
(() => {
  const look = async () => {
    const { kind } = await (await fetch("/api/v1/login", { cache: "no-store" })).json();
    if (kind === "stranger") location.replace(`/login?${new URLSearchParams({ next: location.pathname, left: "over" })}`);
  };
  const watch = () => {
    if (!window.socket) return setTimeout(watch, 200);
    for (const event of ["disconnect", "connect_error"]) window.socket.on(event, () => look().catch(() => {}));
  };
  watch();
})();

// Vercel's emulate as a Slack, with what it lacks for a bot: an address for events that is told later, and the twin
// `app_mention` of a message that mentions the bot. Prints its own address; reads the events' address from stdin.
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { createEmulator } from "emulate";

const BOT = "UBOT";
const dist = new URL("./node_modules/emulate/dist/", import.meta.url);

async function slackPlugin() {
  for (const name of readdirSync(dist)) {
    if (name.startsWith("dist-") && name.endsWith(".js")) {
      const module = await import(new URL(name, dist));
      if (module.slackPlugin) return module.slackPlugin;
    }
  }
  throw new Error("emulate has no Slack in it");
}

let hooks;
const plugin = await slackPlugin();
const register = plugin.register;
plugin.register = (app, store, webhooks, ...rest) => {
  hooks = webhooks;
  const dispatch = webhooks.dispatch.bind(webhooks);
  webhooks.dispatch = async (event, action, payload, ...more) => {
    const said = payload?.event;
    if (event === "message" && said && !said.subtype && said.text?.includes(`<@${BOT}>`)) {
      const twin = { ...payload, event_id: `${payload.event_id}m`, event: { ...said, type: "app_mention" } };
      void dispatch(event, action, twin, ...more);
    }
    return dispatch(event, action, payload, ...more);
  };
  return register.call(plugin, app, store, webhooks, ...rest);
};

const slack = await createEmulator({
  service: "slack",
  port: 0,
  seed: {
    slack: {
      signing_secret: "signing-secret",
      users: [{ name: "ada", real_name: "Ada" }],
      channels: [{ name: "work" }],
      oauth_apps: [
        { client_id: "1.2", client_secret: "x", app_id: "A1", name: "Threadbox", redirect_uris: [], scopes: [],
          bot_id: "BBOT", bot_user_id: BOT, bot_name: "threadbox" },
      ],
      tokens: [
        { token: "xoxb-test-token", user_id: BOT, bot_id: "BBOT", bot_user_id: BOT, app_id: "A1", type: "bot" },
        { token: "xoxp-ada", user: "ada", type: "user" },
        { token: "xoxp-admin", user: "admin", type: "user" },
      ],
    },
  },
});
console.log(JSON.stringify({ url: slack.url }));
createInterface({ input: process.stdin })
  .on("line", (url) => hooks.register({ owner: "slack", events: ["*"], active: true, url }))
  .on("close", () => process.exit(0));

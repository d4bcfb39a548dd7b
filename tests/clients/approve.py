#!/usr/bin/env python3
"""Two people who have nothing of ours: one asks for what another has to agree to.

    approve.py DIR/lab.json        ends with 0 when every step held, else says which did not

The one asks by form (XEP-0050); the other agrees by a reaction (XEP-0444), refuses by a reply (XEP-0461), and
sees the message that asked change to the result (XEP-0308).
"""

import asyncio
import json
import sys

from bot import PATIENCE_S, Bot, Failed, check, done

CORRECT = "{urn:xmpp:message-correct:0}replace"


def changes(stanza):
    """The id of the message this one takes the place of, when it does."""
    replace = stanza.xml.find(CORRECT)
    return None if replace is None else replace.get("id")


async def story(lab):
    """All of it."""
    people = {user["role"]: user for user in lab["users"]}
    host = lab["hosts"][0]["jid"]
    contact = host.split("/", maxsplit=1)[0]
    admin = await Bot(people["admin"], lab["server"]).login()
    operator = await Bot(people["operator"], lab["server"]).login()
    for plugin in ("xep_0444", "xep_0461"):
        admin.register_plugin(plugin)
    asker = people["operator"]["jid"]
    done(await admin.command(host, "create", {"name": "db1", "image": "linux"}))
    done(await admin.command(host, "machine/db1/start"))
    await admin.says(contact, "policy add careful kill on db1 within 10m", "from now on")

    # By a form; nothing happens yet, and who asked is told what it waits for.
    first = done(await operator.command(host, "machine/db1/kill"))
    check(first["under_way"] and first["request"], f"it was not asked of anybody: {first}")
    asks = await admin.hears(contact, f"{asker} wants: kill db1", first["request"])
    listed = await operator.says(contact, "request list", first["request"])
    check("needs 1 with the role admin" in listed["body"], listed["body"])
    check(done(await admin.command(host, "machine/db1/status"))["state"] == "running", "it was killed already")

    # No, by a reply to that message, as clients write one.
    admin.plugin["xep_0461"].send_reply(asks["from"], asks["id"], fallback=asks["body"].splitlines()[0],
                                        mto=asks["from"], mbody="no", mtype="chat")
    await admin.hears(contact, "rejected by", people["admin"]["jid"])
    end = await operator.hears(contact, "rejected by", people["admin"]["jid"])
    check(first["request"] in end["body"], end["body"])

    # And yes, by a reaction to the next one: the message that asked becomes the result.
    second = done(await operator.command(host, "machine/db1/kill"))
    asks = await admin.hears(contact, f"{asker} wants: kill db1", second["request"])
    admin.plugin["xep_0444"].send_reactions(asks["from"], asks["id"], ["👍"])
    def is_result(stanza):
        return changes(stanza) == asks["id"]
    result = await admin.awaits(admin.said, is_result, "the result in the place of the question")
    check(f"Agreed: {people['admin']['jid']}" in result["body"], result["body"])
    await operator.hears(contact, "agreed:", second["request"])
    check(done(await admin.command(host, "machine/db1/status"))["state"] == "stopped", "it runs still")
    log = done(await admin.command(host, "machine/db1/log"))
    kills = [line["outcome"] for line in log["entries"] if line["what"] == "kill"]
    check(len(kills) == 2 and kills[0].startswith("Rejected by"), f"the journal says {kills}")


async def main(path):
    """Reads the lab and plays the story on it."""
    with open(path, encoding="utf-8") as file:
        lab = json.load(file)
    await asyncio.wait_for(story(lab), 4 * PATIENCE_S)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except Failed as failed:
        sys.exit(str(failed))

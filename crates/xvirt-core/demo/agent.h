/* A small QEMU guest agent on the port of that name; `agent=` on the command line selects a misbehaviour. */
#pragma once

/* Looks for the port. */
void agent_start(void);

/* Answers pending requests. */
void agent_poll(void);

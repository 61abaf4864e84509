/* A small QEMU guest agent, behind the port of that name; `agent=` on the command line says how it misbehaves. */
#pragma once

/* Looks for the port. */
void agent_start(void);

/* Answers what was asked. */
void agent_poll(void);

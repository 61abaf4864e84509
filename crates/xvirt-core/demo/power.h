/* Leaving the machine, and being asked to. */
#pragma once

__attribute__((noreturn)) void power_off(void);
__attribute__((noreturn)) void power_reboot(void);
__attribute__((noreturn)) void power_crash(void);

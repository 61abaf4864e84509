//! One assembled VM: memory, vCPUs, buses and devices under one owner.

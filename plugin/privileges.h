// What the daemon may do beyond what its user may.
#pragma once

namespace rw {

// Gives up, for this process and whatever it starts, every capability but the one that mounting
// takes, and the ways to get others by executing something. New files are for their owner alone.
// Must be called before other threads are started: capabilities are a thread's. What cannot be
// given up is kept, with a line in the log.
void GiveUpPrivileges();

}  // namespace rw

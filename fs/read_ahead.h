// How far the kernel reads ahead on a mount.
#pragma once

#include <string>

namespace rw {

// FUSE mounts begin with 128 KiB, which one request holds: the next is asked for only when this is
// nearly used up, so that a sequential reader waits for the daemon and the disk in turns. Asks for
// more. Where /sys cannot be written, as in some containers, things stay as they are.
void ReadAheadMore(const std::string& mountpoint);

}  // namespace rw

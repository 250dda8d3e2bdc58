// The daemon in the foreground.
#pragma once

#include "plugin/settings.h"

namespace rw {

// Serves until SIGTERM or SIGINT, then unmounts everything, makes everything durable and returns.
// Throws Refused, with nothing left behind, if it cannot serve: a setting that is not one, no
// /dev/fuse, a socket, mounts directory or data root that is in use or not rewind's.
void Serve(const ServeSettings& settings);

}  // namespace rw

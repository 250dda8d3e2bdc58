// A tar archive, compressed or not, as frames (plugin/tree_stream.h), by libarchive.
//
// Archives may come from anywhere, so this runs in the command, which lives for one archive and has
// given up its privileges, and never in the daemon, which holds everybody's volumes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace rw {

struct ArchiveSource {
  int fd = -1;                                // read from where it is to its end
  std::function<void(uint64_t)> on_progress;  // with the bytes that were read of it
};

// Sends all of the archive as frames, the End included. Throws Refused(EINVAL) for what is no tar
// archive, is damaged or ends too early, EIO if it cannot be read, and what `sink` throws.
void ReadArchive(const ArchiveSource& source, const std::function<void(std::string_view)>& sink);

}  // namespace rw

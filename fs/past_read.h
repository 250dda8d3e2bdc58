// Files of a volume at an instant, by path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/volume.h"

namespace rw {

// The inode that a path leads to. Symlinks are followed as long as they stay within the volume.
// Throws Refused: ENOENT, ENOTDIR, ELOOP; EXDEV for a symlink that leads out of it.
InodeAttr FindFollowing(Volume& volume, const std::vector<std::string>& path);

// The regular file that it leads to. Throws Refused: as above; EISDIR, and EINVAL for what has no
// contents.
InodeAttr FindFile(Volume& volume, const std::vector<std::string>& path);

// Whether the file's bytes contain `text`, which must not be empty.
bool Contains(Volume& volume, const InodeAttr& file, std::string_view text);

}  // namespace rw

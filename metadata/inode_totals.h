// Counts what a view holds by looking at each of its inodes: slow, and independent of what was
// written down.
#pragma once

#include <memory>
#include <vector>

#include "metadata/index.h"
#include "metadata/view.h"

namespace rw {

// Counts the state of the index as it was when this was made. Not thread-safe.
class InodeTotalsCursor {
 public:
  InodeTotalsCursor(Index* index, std::vector<View::Link> chain);
  Totals Count() const;  // once; throws Refused(EIO)

 private:
  std::vector<View::Link> chain_;
  std::vector<std::unique_ptr<Index::Cursor>> cursors_;  // of the links
};

}  // namespace rw

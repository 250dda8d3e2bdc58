// A second log of the catalog, in `catalog.copy`: without a catalog no volume is there.
//
// It begins with all of the catalog, as one record, when the store is opened, whenever the control
// journal is written anew, and after it could not be written; each later change is appended when
// the control journal has it on the disk, and is on the disk as well before it is acknowledged. So
// it never says more than the control journal was told, and what it says after that one's newest
// record is what that has lost.
//
// A copy that cannot be written (on a full disk, say) is removed: the catalog can do without. Not
// thread-safe.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "fs/journal.h"

namespace rw {

class CatalogCopy {
 public:
  CatalogCopy(FileLayer* files, std::filesystem::path root);

  // Anew, in place of what is there: `all` puts every entry, as of `at`.
  void Begin(Instant at, const Mutations& all);
  // A change, which is durable when this returns. False if there is no copy to append it to.
  bool Append(Instant at, const Mutations& change);

  // The instant of its newest record. Nothing if there is none or it is damaged itself.
  static std::optional<Instant> Find(FileLayer* files, const std::filesystem::path& root);
  // Its segments, in `directory`, in place of what is there.
  static void CopyTo(FileLayer* files, const std::filesystem::path& root,
                     const std::filesystem::path& directory);

 private:
  void GiveUp(const char* why);
  void RemoveOld();

  FileLayer* files_;
  std::filesystem::path root_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace rw

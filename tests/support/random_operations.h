// Draws random operations that make sense, or nearly so, on the newest state of a reference model.
// The same seed and the same model give the same operations.
#pragma once

#include <cstdint>

#include "tests/support/operation.h"
#include "tests/support/random.h"
#include "tests/support/reference_model.h"

namespace rw::testing {

struct OperationProfile {
  bool through_mount = false;  // draw only what system calls by path can ask for, as root
  uint64_t max_write = 300'000;
  uint64_t max_xattr = 4000;
  size_t max_inodes = 120;
  uint64_t percent_contents = 0;  // so many at least change contents
};

class RandomOperations {
 public:
  RandomOperations(uint64_t seed, const OperationProfile& profile)
      : random_(seed), profile_(profile) {}

  Operation Next(const ReferenceModel& model);

 private:
  OperationKind DrawKind(const ReferenceModel& model);
  ModelIno DrawParent(const ReferenceModel& model);
  ModelIno DrawInode(const ReferenceModel& model);
  ModelIno DrawFile(const ReferenceModel& model);
  std::string DrawName(const ReferenceModel& model, ModelIno directory, uint64_t percent_existing);
  std::string DrawXattrName(const ReferenceModel& model, ModelIno ino);
  uint64_t DrawOffset(uint64_t size);
  uint64_t DrawLength();
  FileTime DrawTime();

  void DrawCreate(const ReferenceModel& model, Operation& operation);
  void DrawAcl(const ReferenceModel& model, Operation& operation);
  void DrawRename(const ReferenceModel& model, Operation& operation);
  void DrawSetAttr(const ReferenceModel& model, Operation& operation);
  void DrawWrite(const ReferenceModel& model, Operation& operation);
  void DrawFallocate(const ReferenceModel& model, Operation& operation);
  void DrawCopyRange(const ReferenceModel& model, Operation& operation);
  void DrawXattr(const ReferenceModel& model, Operation& operation);

  Random random_;
  const OperationProfile profile_;
  uint64_t unique_ = 0;
};

}  // namespace rw::testing

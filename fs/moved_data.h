// Where data go whose segments are to be freed: segments of their own, beside those of the
// timeline's journal (metadata/FORMAT.md, "Moved data").
//
// They are apart from what is written now because they have another life: they can be freed
// whatever lies within the range, and what has stayed for long is likely to stay, so that it is not
// copied again and again with what comes and goes. They are no part of the log: nothing is replayed
// from them, and what a crash leaves of them unreferred is freed by a later run.
//
// Thread safety: Append and End are for one run of the collector at a time, Sync for any thread.
// Errors: Refused with the errno of the call.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "fs/journal.h"
#include "fs/timeline.h"

namespace rw {

// Whether a segment of moved data is what is left of a run that a crash has ended, or was just
// begun: its header is zeros, and the index knows of nothing in it.
bool IsUnbegun(const StoreContext& context, TimelineId timeline, uint32_t segment);

class MovedData {
 public:
  // `context` must outlive this; its index may come later.
  explicit MovedData(const StoreContext* context) : context_(*context) {}

  // A record of `data` in the timeline's directory; `owner` is whose they are.
  Journal::Appended Append(TimelineId timeline, const ChunkVersionKey& owner,
                           std::span<const char> data);
  // What was appended survives the machine when this returns.
  void Sync();
  // The same, and what is appended later goes into other segments; those until now are settled, as
  // all references to them are in the index. A journal that fails stays: the index may refer to
  // what it holds, so nothing is moved to it until the store is opened again.
  void End();

 private:
  std::shared_ptr<Journal> JournalOf(TimelineId timeline);
  std::vector<std::shared_ptr<Journal>> Journals();

  const StoreContext& context_;
  std::mutex mutex_;  // guards what follows
  std::map<TimelineId, std::shared_ptr<Journal>> journals_;
  // The last numbers that were used. None is used again while the store is open: who remembers a
  // place has to find its segment gone, and not another.
  std::map<TimelineId, uint32_t> last_;
};

}  // namespace rw

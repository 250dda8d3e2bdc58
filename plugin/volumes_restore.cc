// What is taken back of a volume's past, where it may be mounted.
#include <spdlog/spdlog.h>

#include <cerrno>

#include "fs/volume.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/volumes.h"
#include "plugin/volumes_work.h"

namespace rw {

// The right to take something of one volume back.
class Volumes::Exclusive {
 public:
  Exclusive(Volumes& volumes, const std::string& name) : volumes_(volumes), name_(name) {
    const std::lock_guard lock(volumes_.mutex_);
    if (volumes_.taking_back_.insert(name_).second) return;
    throw Refused(EBUSY, "something of " + name_ + " is being restored; wait until it is done");
  }
  ~Exclusive() {
    const std::lock_guard lock(volumes_.mutex_);
    volumes_.taking_back_.erase(name_);
  }
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  Volumes& volumes_;
  const std::string name_;
};

// With the session of what the name is bound to; null if it is not mounted.
void Volumes::AtHead(const std::string& name, const std::function<void(Session*)>& with) {
  const Work work(*this, name);
  const auto head = work.entry().mounted.find(kInstantMax);
  with(head == work.entry().mounted.end() ? nullptr : head->second.session.get());
}

RestoreReport Volumes::Restore(const RestoreRequest& request) {
  RestoreHooks hooks;
  const auto progress = NoteProgress(request.volume);
  hooks.progress = [&progress](const char* step, uint64_t done, uint64_t total) {
    try {
      (*progress)(step, done, total);
    } catch (const Refused& refused) {
      throw Refused(refused.error(), refused.what() + std::string("; nothing was changed"));
    }
  };
  hooks.go_on = [this] { return !ending_; };
  hooks.mounted = [&] {
    bool mounted = false;
    AtHead(request.volume, [&](Session* session) { mounted = session != nullptr; });
    return mounted;
  };
  hooks.changed = [&](const std::vector<RestoreNote::Place>& places) {
    AtHead(request.volume, [&](Session* session) {
      if (session != nullptr) session->NamesChanged(places);
    });
  };
  hooks.nameless = [&](const std::vector<Ino>& inos) {
    AtHead(request.volume, [&](Session* session) {
      if (session != nullptr) session->EndUnlinked(inos);  // else they have ended with it
    });
  };
  RestoreReport report = store_.Restore(request, hooks);
  if (report.done) {
    spdlog::info("{}: {} paths are as of {} again, since {}", request.volume, report.paths.size(),
                 FormatInstant(report.source), FormatInstant(*report.done));
  }
  return report;
}

RestoreReport Volumes::Restore(RestoreRequest request, const std::string& at) {
  if (!store_.Find(request.volume))
    throw Refused(ENOENT, "no such volume: " + Quoted(request.volume));
  request.at = InstantOf(request.volume, at);
  const Exclusive exclusive(*this, request.volume);
  return Restore(request);
}

Volumes::Undone Volumes::Undo(const std::string& name, bool redo, bool dry_run) {
  const auto record = store_.Find(name);
  if (!record) throw Refused(ENOENT, "no such volume: " + Quoted(name));
  if (!record->writable())
    throw Refused(EROFS, "cannot undo: " + name + " is a snapshot volume, which never changes");
  const Exclusive exclusive(*this, name);
  const auto action = ChooseUndo(store_.ListTakenBack(name), redo);
  if (!action) {
    throw Refused(ENOENT,
                  redo ? "nothing to redo: the last rollback or restore of " + name + " is no undo"
                       : "nothing to undo: no rollback or restore of " + name +
                             " is known that is not undone");
  }
  Undone undone{*action, Before(action->at), std::nullopt};
  if (action->rollback) {
    const Work work(*this, name);
    RefuseHeld(work, "cannot undo the rollback of " + name, name);
    undone.source = store_.UndoRollback(name, *action, dry_run);
    return undone;
  }
  RestoreRequest request;
  request.volume = name;
  request.paths = action->paths;
  request.at = undone.source;
  request.undoes = action->at;
  request.dry_run = dry_run;
  undone.report = Restore(request);
  return undone;
}

}  // namespace rw

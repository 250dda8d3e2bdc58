// What a volume's past is made of.
#include "fs/past.h"
#include "fs/store_impl.h"

namespace rw {

std::shared_ptr<const Past> StoreImpl::OpenPast(const std::string& name) {
  const std::lock_guard lock(catalog_mutex_);
  const VolumeRecord& record = catalog_->Need(name);
  const Instant now = clock_.Next();
  const auto& kept = catalog_->Kept();
  std::vector<Past::Span> spans;
  const auto add = [&](TimelineId timeline, Instant from, Instant to) {
    if (!catalog_->timelines().contains(timeline)) return;
    Past::Span span{from, to, catalog_->Chain(timeline, to), {}};
    if (const auto found = kept.find(span.chain.front().timeline); found != kept.end())
      span.kept = found->second;
    for (const View::Link& link : span.chain) {
      if (const auto broken = broken_.find(link.timeline); broken != broken_.end())
        throw Refused(EIO, broken->second);
      WaitForOperations(link.timeline);
    }
    spans.push_back(std::move(span));
  };
  if (record.fixed_at) {
    add(record.timeline(), *record.fixed_at, *record.fixed_at);
  } else {
    for (size_t i = 0; i < record.bindings.size(); ++i) {
      const bool last = i + 1 == record.bindings.size();
      add(record.bindings[i].timeline, record.bindings[i].since,
          last ? now : Before(record.bindings[i + 1].since));
    }
  }
  return std::make_shared<const Past>(context_, name, now, std::move(spans));
}

}  // namespace rw

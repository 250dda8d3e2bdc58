#include "metadata/kept.h"

#include <algorithm>

namespace rw {

void KeptInstants::AddRange(Instant from, Instant to) {
  if (to < from) return;
  range_ = range_ ? Range{std::min(range_->from, from), std::max(range_->to, to)} : Range{from, to};
}

void KeptInstants::Finish() {
  std::sort(points_.begin(), points_.end());
  points_.erase(std::unique(points_.begin(), points_.end()), points_.end());
}

bool KeptInstants::Contains(Instant at) const {
  if (range_ && range_->from <= at && at <= range_->to) return true;
  return std::binary_search(points_.begin(), points_.end(), at);
}

std::optional<Instant> KeptInstants::FirstIn(Instant from, Instant to) const {
  std::optional<Instant> first;
  const auto point = std::lower_bound(points_.begin(), points_.end(), from);
  if (point != points_.end() && *point < to) first = *point;
  if (range_ && range_->to >= from) {
    const Instant in_range = std::max(range_->from, from);
    if (in_range < to && (!first || in_range < *first)) first = in_range;
  }
  return first;
}

std::optional<Instant> KeptInstants::Previous(Instant at) const {
  std::optional<Instant> last;
  const auto point = std::lower_bound(points_.begin(), points_.end(), at);
  if (point != points_.begin()) last = *std::prev(point);
  if (range_ && range_->from < at)
    last = std::max(last.value_or(Instant{}), std::min(range_->to, at));
  return last;
}

}  // namespace rw

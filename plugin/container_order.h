// The order in which containers that need each other are stopped and started.
#pragma once

#include <string>
#include <vector>

#include "plugin/engine_api.h"

namespace rw {

// The containers in the order to stop them: those that depend on others before these, by Compose's
// labels or because they share a namespace; else the last started first. `projects` are all
// containers of the Compose projects that are concerned: between two that are to be stopped there
// may be others. What depends on each other in a circle is ordered by its start.
std::vector<Container> InStopOrder(std::vector<Container> containers,
                                   const std::vector<Container>& projects);

// The Compose project of a container; empty if it has none.
std::string ProjectOf(const Container& container);

// Whether `dependent` says that it is to be started only when `other` is healthy.
bool NeedsHealthy(const Container& dependent, const Container& other);

}  // namespace rw

// What the process asks of malloc.
#pragma once

namespace rw {

// One arena for each processor, instead of glibc's eight: what is free in one is of no use to the
// others, and a store's threads, each in another one, keep twice the memory that they need. To be
// called before there are threads.
void LimitArenas();

}  // namespace rw

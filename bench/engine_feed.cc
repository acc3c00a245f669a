#include "bench/engine_feed.h"

#include "test/support/shapes/tag_policies.h"

namespace ocicat::bench {

void warm_up() {
  Feed feed;
  feed.load(test::TagPolicies{.remote = 10, .local = 10, .policies = 10});
}

}  // namespace ocicat::bench

// What informers saw becomes what the host should look like. The part of PolicyLoop that neither waits nor
// knows the time.
#pragma once

#include <optional>
#include <vector>

#include "agent/news.h"
#include "api/client/informer.h"
#include "engine/engine.h"

namespace ocicat::agent {

// What informers have to follow for it.
std::vector<Kind> followed_kinds();

class PolicyKeeper {
 public:
  explicit PolicyKeeper(Engine engine) : engine_(std::move(engine)) {}

  struct Step {
    std::optional<News> news;  // counters where they are not as they were last told
    std::optional<HostChanges> changes;
  };
  // What comes before the first update that is in sync is taken in as it comes, and no changes come out of it: then
  // the whole state. After that, what changes, and revisions even where nothing does.
  Step take(const api::Update& update);
  // BIRD has heard from the neighbours. Nothing changes before there was a first state.
  std::optional<HostChanges> leave_to_router();

 private:
  Engine engine_;
  Revisions reached_;     // and not sent
  bool in_sync_ = false;  // and so sent
  std::optional<Engine::Counters> told_;
};

}  // namespace ocicat::agent

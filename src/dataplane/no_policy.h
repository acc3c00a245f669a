// Routes alone: nothing is judged, so nothing is waited for. Chosen by people only (--dataplane none).
#pragma once

#include "dataplane/policy_datapath.h"

namespace ocicat::dataplane {

class NoPolicy final : public PolicyDatapath {
 public:
  Result<void> apply(const HostChanges&) override { return {}; }
  Result<void> assign(const HostInterfaces&) override { return {}; }
  Result<bool> resync() override { return false; }
  bool enforces() const override { return false; }
  bool in_step() const override { return true; }
  void distrust() override {}
  bool serves(const std::string&) const override { return true; }
  std::uint64_t writes() const override { return 0; }
};

}  // namespace ocicat::dataplane

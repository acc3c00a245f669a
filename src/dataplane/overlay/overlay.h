// The interfaces of one kind of tunnel (vxlan.h, ipip.h), held to what is desired around the routes.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace ocicat::dataplane {

class Overlay {
 public:
  virtual ~Overlay() = default;

  // Makes what is wanted, before the routes that lead through it. What failed is tried again the next time.
  virtual Result<void> sync() = 0;
  // Takes away what nobody wants any more, once no route leads through it: with an interface the kernel drops
  // its routes.
  virtual Result<void> retire() = 0;
  std::uint64_t writes() const { return writes_; }

 protected:
  Result<void> write(Result<void> done) {
    if (done) ++writes_;
    return done;
  }

  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane

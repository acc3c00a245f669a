// Classes: the signatures that addresses have, each with the id that a datapath knows it by.
//
//   in       blends that get or lose a signature
//   out      classes that are new, and ids that are gone
//   cost     what changed; where a set comes into use or goes, one pass over the signatures that changed and
//            one over the caller's blends
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "policy/id_registry.h"
#include "policy/set_space.h"
#include "policy/tables.h"

namespace ocicat::policy {

// A class lives while a blend has its signature. Keeps a use of each signature that has a class.
class ClassIndex {
 public:
  ClassIndex(SetSpace& sets, IdRegistry& ids) : sets_(sets), ids_(ids), classes_(1) {}

  // A blend has the signature from now on, or no longer. Nothing for the empty one. Call join() while the
  // signature is held.
  void join(SignatureId signature) { touch(signature, 1); }
  void leave(SignatureId signature) { touch(signature, ~0U); }

  struct Update {
    std::vector<SignatureId> new_classes;
    std::vector<ClassId> gone_classes;
    bool renamed = false;  // an id went from one signature to another
  };
  // Ends a batch. `places_by_signature` says how many places have each; it is asked only where a set came
  // into use or went, and then once.
  Update settle(const std::function<std::vector<std::size_t>()>& places_by_signature);

  // 0 for the empty signature, and where there is no class.
  ClassId of(SignatureId signature) const {
    return signature < classes_.size() ? ClassId{classes_[signature].id} : ClassId{};
  }
  // Visits each signature that has a class once.
  template <class Visit>
  void for_each(Visit visit) const {
    for (SignatureId id = 1; id < classes_.size(); ++id) {
      if (classes_[id].id != 0) visit(id, ClassId{classes_[id].id});
    }
  }
  std::size_t size() const { return size_; }

 private:
  struct Class {
    std::uint32_t id = 0;
    std::uint32_t blends = 0;
    bool touched = false;
  };

  void touch(SignatureId signature, std::uint32_t more);
  bool inherit_ids(const std::function<std::vector<std::size_t>()>& places_by_signature);
  void give_id(SignatureId from, SignatureId to);
  // `left_out`: by set.
  std::vector<SetId> without(SignatureId signature, const std::vector<bool>& left_out) const;

  SetSpace& sets_;
  IdRegistry& ids_;
  std::vector<Class> classes_;  // by signature
  std::vector<SignatureId> touched_;
  std::size_t size_ = 0;
};

}  // namespace ocicat::policy

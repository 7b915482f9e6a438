// Runs jobs on a verilated `einchip_top`: einchip.verify.native builds it, writes its job file and
// reads its result file.
//
//     simulator JOBS RESULTS [SIGNALS SAMPLES WAVES]
//
// SIGNALS names signals, a line each, whose values go into SAMPLES for every cycle that is recorded;
// WAVES is what the build can write of these cycles. A name of `-` is none.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "Vtop.h"
#include "harness_jobs.h"
#include "harness_memory.h"
#include "harness_record.h"
#include "verilated.h"
#if EINCHIP_HOOK
#include "einchip_hook.h"
#else
// A hook reaches inside the machine; it may step around the bus, never around the clock.
static bool einchip_peek(Vtop&, uint32_t, uint64_t, uint8_t*, uint64_t) { return false; }
static bool einchip_poke(Vtop&, uint32_t, uint64_t, const uint8_t*, uint64_t) { return false; }
#endif

namespace {

constexpr uint64_t kBusTimeoutCycles = 10'000;
constexpr int kResetCycles = 4;

// A verilated machine and its clock.
class Model {
public:
    explicit Model(const Recorded& recorded) : context_(new VerilatedContext) {
        context_->fatalOnError(false);
        context_->traceEverOn(recorded.waves != nullptr);
        top_.reset(new Vtop(context_.get()));
        if (recorded.waves) waves_.reset(new Waves(*top_, recorded.waves));
        if (recorded.samples) samples_.reset(new Samples(*context_, recorded));
    }
    ~Model() {
        top_->final();
        if (waves_) waves_->close();
    }
    Vtop* top() { return top_.get(); }
    bool failed() const { return context_->gotError() || context_->gotFinish(); }
    void record(bool on) { recording_ = on; }

    // The rising edge begins a cycle: the machine's registers and those of its inputs change, and
    // what follows from both is evaluated once. The falling edge has nothing to do.
    void rise() {
        half(1);
        if (samples_ && recording_) samples_->take();
    }
    void fall() { half(0); }

private:
    void half(int clock) {
        top_->clk = clock;
        top_->eval();
        if (waves_ && recording_) waves_->dump();
        context_->timeInc(5);
    }

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;
    std::unique_ptr<Waves> waves_;
    std::unique_ptr<Samples> samples_;
    bool recording_ = false;
};

// One job: drives the control port, steps the clock.
class Session {
public:
    Session(Model& model, const Job& job)
        : model_(model), top_(model.top()), job_(job), memory_(top_, job, summary_),
          aw_(job, 11), w_(job, 12), b_(job, 13), ar_(job, 14), r_(job, 15) {}

    void reset() {
        for (int i = 0; i < kResetCycles; ++i) step_reset();
        top_->rst = 0;
    }

    // The edge that ends the last cycle.
    void finish() {
        step_reset();
        note_failure();
    }

    Outcome run(const Operation& operation) {
        Outcome outcome;
        outcome.begin = cycle_;
        switch (operation.kind) {
        case Operation::kWrite: write(operation, outcome); break;
        case Operation::kRead: read(operation.address, outcome); break;
        case Operation::kPoll: poll(operation, outcome); break;
        case Operation::kWaitIrq:
            wait(outcome, operation.value, [this] { return top_->irq != 0; });
            break;
        case Operation::kIdle:
            for (uint64_t i = 0; i < operation.value; ++i) step([] {});
            break;
        case Operation::kLoad:
            bounds(operation);
            std::copy_n(operation.data, operation.length,
                        memory_.bytes().begin() + static_cast<ptrdiff_t>(operation.address));
            break;
        case Operation::kDump:
            bounds(operation);
            outcome.data.assign(
                memory_.bytes().begin() + static_cast<ptrdiff_t>(operation.address),
                memory_.bytes().begin()
                    + static_cast<ptrdiff_t>(operation.address + operation.length));
            break;
        case Operation::kPeek:
            outcome.data.resize(operation.length);
            if (!einchip_peek(*top_, operation.space, operation.address, outcome.data.data(),
                              operation.length))
                outcome.status = kUnsupported;
            break;
        case Operation::kPoke:
            if (!einchip_poke(*top_, operation.space, operation.address, operation.data,
                              operation.length))
                outcome.status = kUnsupported;
            break;
        case Operation::kRecord: model_.record(operation.value != 0); break;
        default: throw std::runtime_error("unknown operation");
        }
        if (outcome.end == kOpen) outcome.end = cycle_;
        return outcome;
    }

    Summary& summary() { return summary_; }
    uint64_t cycle() const { return cycle_; }

private:
    // One clock cycle. `sampled` sees what both sides show just before the edge that ends it.
    template <typename Sampled> void step(Sampled sampled) {
        memory_.drive(cycle_);
        model_.rise();
        note_failure();
        memory_.sample(cycle_);
        sampled();
        model_.fall();
        ++cycle_;
    }

    void step_reset() {
        release_bus();
        memory_.release();
        top_->rst = 1;
        model_.rise();
        model_.fall();
    }

    // Assertions look at the cycle that an edge ends.
    void note_failure() {
        if (!model_.failed() || failed_) return;
        failed_ = true;
        summary_.violation(cycle_ - 1, "an assertion in the RTL failed");
    }

    template <typename Condition>
    void wait(Outcome& outcome, uint64_t max_cycles, Condition condition) {
        for (bool seen = false; !seen;) {
            if (cycle_ - outcome.begin >= max_cycles) {
                outcome.status = kTimeout;
                return;
            }
            step([&] {
                if ((seen = condition())) outcome.end = cycle_;
            });
        }
    }

    void write(const Operation& operation, Outcome& outcome) {
        if (hung(outcome)) return;
        bool aw_taken = false, w_taken = false, done = false;
        const uint64_t start = cycle_;
        S_AXIL(awaddr) = operation.address;
        S_AXIL(wdata) = operation.value;
        S_AXIL(wstrb) = 0xF;
        while (!done && in_time(start, outcome)) {
            offer(S_AXIL(awvalid), aw_, aw_taken);
            offer(S_AXIL(wvalid), w_, w_taken);
            S_AXIL(bready) = b_.open();
            step([&] {
                const bool both = aw_taken && w_taken;
                if (S_AXIL(bvalid) && !both)
                    summary_.violation(cycle_, "s_axil bvalid before the write was taken");
                done = both && S_AXIL(bvalid) && S_AXIL(bready);
                if (done) outcome.response = S_AXIL(bresp);
                aw_taken |= S_AXIL(awvalid) && S_AXIL(awready);
                w_taken |= S_AXIL(wvalid) && S_AXIL(wready);
                if (!both && aw_taken && w_taken) outcome.begin = cycle_;
                if (done) outcome.end = cycle_;
            });
        }
        release_bus();
    }

    void read(uint64_t address, Outcome& outcome) {
        if (hung(outcome)) return;
        bool ar_taken = false, done = false;
        const uint64_t start = cycle_;
        S_AXIL(araddr) = address;
        while (!done && in_time(start, outcome)) {
            offer(S_AXIL(arvalid), ar_, ar_taken);
            S_AXIL(rready) = r_.open();
            step([&] {
                if (S_AXIL(rvalid) && !ar_taken)
                    summary_.violation(cycle_, "s_axil rvalid before the read was taken");
                done = ar_taken && S_AXIL(rvalid) && S_AXIL(rready);
                if (done) {
                    outcome.value = S_AXIL(rdata);
                    outcome.response = S_AXIL(rresp);
                    outcome.end = cycle_;
                }
                if (!ar_taken && S_AXIL(arvalid) && S_AXIL(arready)) {
                    ar_taken = true;
                    outcome.begin = cycle_;
                }
            });
        }
        release_bus();
    }

    void poll(const Operation& operation, Outcome& outcome) {
        const uint64_t start = cycle_;
        const uint64_t mask = operation.value >> 32, wanted = operation.value & 0xFFFFFFFF;
        do {
            read(operation.address, outcome);
            if (outcome.status == kOk && cycle_ - start >= operation.length
                && (outcome.value & mask) != wanted)
                outcome.status = kTimeout;
        } while (outcome.status == kOk && (outcome.value & mask) != wanted);
        outcome.begin = start;
    }

    // Once offered, valid stays until it is taken.
    static void offer(CData& valid, Gate& gate, bool taken) {
        const bool open = gate.open();
        valid = !taken && (valid || open);
    }

    bool in_time(uint64_t start, Outcome& outcome) {
        if (cycle_ - start < kBusTimeoutCycles) return true;
        outcome.status = kTimeout;
        hung_ = true;
        return false;
    }
    bool hung(Outcome& outcome) {
        if (hung_) outcome.status = kSkipped;
        return hung_;
    }
    void release_bus() {
        S_AXIL(awvalid) = S_AXIL(wvalid) = S_AXIL(arvalid) = 0;
        S_AXIL(bready) = S_AXIL(rready) = 0;
    }
    void bounds(const Operation& operation) {
        if (operation.address > job_.memory_bytes
            || operation.length > job_.memory_bytes - operation.address)
            throw std::runtime_error("a job loads or dumps outside its memory");
    }

    Model& model_;
    Vtop* top_;
    const Job& job_;
    Summary summary_;
    Memory memory_;
    Gate aw_, w_, b_, ar_, r_;
    uint64_t cycle_ = 0;
    bool failed_ = false, hung_ = false;
};

// What the RTL prints while this lives.
class Captured {
public:
    Captured() : console_(stdout) { stdout = open_memstream(&text_, &size_); }
    ~Captured() {
        if (stdout != console_) finish();
        std::free(text_);
    }
    std::string finish() {
        std::fclose(stdout);
        stdout = console_;
        return {text_, size_};
    }

private:
    FILE* console_;
    char* text_ = nullptr;
    size_t size_ = 0;
};

void run_job(Model& model, const Job& job, Writer& out) {
    Captured captured;
    Session session(model, job);
    model.record(job.records_all());
    session.reset();
    out.put<uint32_t>(job.operations.size());
    for (const Operation& operation : job.operations) {
        const Outcome outcome = session.run(operation);
        out.put(outcome.status);
        out.put(outcome.response);
        out.put(outcome.begin);
        out.put(outcome.end);
        out.put(outcome.value);
        out.put<uint64_t>(outcome.data.size());
        out.put(outcome.data.data(), outcome.data.size());
    }
    session.finish();
    const Summary& summary = session.summary();
    out.put(session.cycle());
    out.put(summary.read_beats);
    out.put(summary.write_beats);
    out.put(summary.hazards);
    out.put(summary.violations);
    out.put_text(summary.first_violation);
    out.put_text(captured.finish());
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3 && argc != 6)
        throw std::runtime_error("usage: simulator JOBS RESULTS [SIGNALS SAMPLES WAVES]");
    Reader in(argv[1]);
    Writer out(argv[2]);
    Recorded recorded;
    if (argc == 6) recorded = {named(argv[3]), named(argv[4]), named(argv[5])};
    std::unique_ptr<Model> model;
    for (auto n = in.get<uint32_t>(); n; --n) {
        const Job job = read_job(in);
        if (job.fresh || !model || model->failed()) {
            model.reset();
            model.reset(new Model(recorded));
        }
        run_job(*model, job, out);
    }
    out.close();
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}

# ruff: noqa: ARG001 - a node's function takes every input of its class, by the name that clients use
"""Nodes that sample. The result depends on seed and texts; each step takes its time and shows a preview."""

from dataclasses import replace
from typing import Any

from PIL import Image

from services.standin.call import NodeCall
from services.standin.frame import Preview
from services.standin.model.node import NodeDefinition, Style
from services.standin.model.value import Conditioning, Guidance, Latent, Pictures
from services.standin.nodes.latent import recipe
from services.standin.nodes.spec import choice, integer, number, seed, socket, typed_socket
from services.standin.picture import noise, paint

SAMPLERS = (
    *("euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2", "dpm_2"),
    *("dpm_2_ancestral", "lms", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp"),
    *("dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
    *("dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm"),
    *("ipndm_v", "deis", "res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral"),
    *("res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "er_sde", "seeds_2"),
    *("seeds_3", "sa_solver", "sa_solver_pece", "ddim", "uni_pc", "uni_pc_bh2"),
)
SCHEDULERS = (
    *("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform"),
    *("beta", "normal", "linear_quadratic", "kl_optimal"),
)
PREVIEW_SIDE = 256


def _sampled(call: NodeCall, latent: Latent, *, seed: int, steps: int, texts: tuple[str, ...]) -> Latent:
    """Goes through the steps, with progress and previews, and gives the latent with its recipe filled in."""
    done = replace(latent, seed=seed, texts=texts)
    target = recipe(done, 0)
    rough = noise(target)
    final = paint(target).resize(rough.size)
    for step in range(1, steps + 1):
        call.block(call.knobs.now.step_seconds)
        shown = Image.blend(rough, final, step / steps)
        call.report(step, steps, Preview(picture=shown, longest_side=PREVIEW_SIDE))
    return done


def _words(*parts: Any) -> tuple[str, ...]:
    """The texts of conditionings; what came as anything else counts by its looks."""
    return tuple(
        word for part in parts for word in (part.texts if isinstance(part, Conditioning | Guidance) else (str(part),))
    )


def sample(
    call: NodeCall,
    *,
    model: Any,
    seed: int,
    steps: int,
    positive: Any,
    negative: Any,
    latent_image: Latent,
    denoise: float = 1.0,
    **_: Any,
) -> tuple[Latent]:
    """All steps."""
    if denoise <= 0:
        return (latent_image,)
    return (_sampled(call, latent_image, seed=seed, steps=steps, texts=_words(positive, negative)),)


def sample_part(
    call: NodeCall,
    *,
    model: Any,
    noise_seed: int,
    steps: int,
    positive: Any,
    negative: Any,
    latent_image: Latent,
    start_at_step: int,
    end_at_step: int,
    **_: Any,
) -> tuple[Latent]:
    """The steps from one to another."""
    count = max(0, min(end_at_step, steps) - start_at_step)
    return (_sampled(call, latent_image, seed=noise_seed, steps=count, texts=_words(positive, negative)),)


def sample_custom(
    call: NodeCall,
    *,
    noise_seed: int,
    positive: Any,
    negative: Any,
    sigmas: int,
    latent_image: Latent,
    **_: Any,
) -> tuple[Latent, Latent]:
    """As many steps as the schedule has."""
    done = _sampled(call, latent_image, seed=noise_seed, steps=sigmas, texts=_words(positive, negative))
    return (done, done)


def sample_guided(
    call: NodeCall, *, noise: int, guider: Guidance, sampler: Any, sigmas: int, latent_image: Latent
) -> tuple[Latent, Latent]:
    """As many steps as the schedule has, by a guider."""
    done = _sampled(call, latent_image, seed=noise, steps=sigmas, texts=_words(guider))
    return (done, done)


def pick_sampler(call: NodeCall, *, sampler_name: str) -> tuple[str]:
    """A sampler is its name here."""
    return (sampler_name,)


def schedule(call: NodeCall, *, steps: int, denoise: float = 1.0, **_: Any) -> tuple[int]:
    """A schedule is its number of steps here."""
    return (steps if denoise > 0 else 0,)


def random_noise(call: NodeCall, *, noise_seed: int) -> tuple[int]:
    """Noise is its seed here."""
    return (noise_seed,)


def guide(call: NodeCall, *, model: Any, conditioning: Any) -> tuple[Guidance]:
    """One conditioning."""
    return (Guidance(texts=_words(conditioning)),)


def guide_both(call: NodeCall, *, model: Any, positive: Any, negative: Any, **_: Any) -> tuple[Guidance]:
    """Two conditionings."""
    return (Guidance(texts=_words(positive, negative)),)


def upscale(call: NodeCall, *, upscale_model: Any, image: Pictures) -> tuple[Pictures]:
    """Pictures twice or four times as large, as the model's name says (four if it says nothing)."""
    factor = 2 if "x2" in str(getattr(upscale_model, "name", "")).lower() else 4
    enlarged = []
    for place, picture in enumerate(image):
        enlarged.append(picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.LANCZOS))
        call.report(place + 1, len(image))
    return (tuple(enlarged),)


def nodes() -> list[NodeDefinition]:
    """The definitions of this family."""
    model, conditioning, latent = socket("MODEL"), socket("CONDITIONING"), socket("LATENT")
    cfg = number(8.0, 0.0, 100.0, 0.1, round=0.01)
    both = {"positive": conditioning, "negative": conditioning}
    names = {"sampler_name": choice(*SAMPLERS), "scheduler": choice(*SCHEDULERS)}
    return [
        NodeDefinition(
            class_type="KSampler",
            run=sample,
            required={
                "model": model,
                "seed": seed(),
                "steps": integer(20, 1, 10000),
                "cfg": cfg,
                **names,
                **both,
                "latent_image": latent,
                "denoise": number(1.0, 0.0, 1.0, 0.01),
            },
            outputs=("LATENT",),
            output_tooltips=("The recipe of a picture.",),
            display_name="KSampler",
            description="Stands for sampling: the picture depends on seed and texts.",
            category="sampling",
        ),
        NodeDefinition(
            class_type="KSamplerAdvanced",
            run=sample_part,
            required={
                "model": model,
                "add_noise": choice("enable", "disable"),
                "noise_seed": seed(),
                "steps": integer(20, 1, 10000),
                "cfg": cfg,
                **names,
                **both,
                "latent_image": latent,
                "start_at_step": integer(0, 0, 10000),
                "end_at_step": integer(10000, 0, 10000),
                "return_with_leftover_noise": choice("disable", "enable"),
            },
            outputs=("LATENT",),
            display_name="KSampler (Advanced)",
            category="sampling",
        ),
        *_custom_nodes(),
        NodeDefinition(
            class_type="ImageUpscaleWithModel",
            run=upscale,
            required={"upscale_model": typed_socket("UPSCALE_MODEL"), "image": typed_socket("IMAGE")},
            outputs=("IMAGE",),
            display_name="Upscale Image (using Model)",
            category="image/upscaling",
            python_module="comfy_extras.nodes_upscale_model",
            style=Style.SCHEMA,
        ),
    ]


def _custom_nodes() -> list[NodeDefinition]:
    model, conditioning, latent = socket("MODEL"), socket("CONDITIONING"), socket("LATENT")
    both = {"positive": conditioning, "negative": conditioning}
    cfg = number(8.0, 0.0, 100.0, 0.1, round=0.01)
    module = "comfy_extras.nodes_custom_sampler"
    place = "sampling/custom_sampling"
    results = ("output", "denoised_output")

    def definition(
        class_type: str, run: Any, required: dict[str, Any], outputs: tuple[str, ...], category: str, **more: Any
    ) -> NodeDefinition:
        return NodeDefinition(
            class_type=class_type,
            run=run,
            required=required,
            outputs=outputs,
            category=category,
            python_module=module,
            **more,
        )

    return [
        definition(
            "KSamplerSelect",
            pick_sampler,
            {"sampler_name": choice(*SAMPLERS)},
            ("SAMPLER",),
            f"{place}/samplers",
        ),
        definition(
            "BasicScheduler",
            schedule,
            {
                "model": model,
                "scheduler": choice(*SCHEDULERS),
                "steps": integer(20, 1, 10000),
                "denoise": number(1.0, 0.0, 1.0, 0.01),
            },
            ("SIGMAS",),
            f"{place}/schedulers",
        ),
        definition("RandomNoise", random_noise, {"noise_seed": seed()}, ("NOISE",), f"{place}/noise"),
        definition(
            "BasicGuider", guide, {"model": model, "conditioning": conditioning}, ("GUIDER",), f"{place}/guiders"
        ),
        definition("CFGGuider", guide_both, {"model": model, **both, "cfg": cfg}, ("GUIDER",), f"{place}/guiders"),
        definition(
            "SamplerCustom",
            sample_custom,
            {
                "model": model,
                "add_noise": ["BOOLEAN", {"default": True}],
                "noise_seed": seed(),
                "cfg": cfg,
                **both,
                "sampler": socket("SAMPLER"),
                "sigmas": socket("SIGMAS"),
                "latent_image": latent,
            },
            ("LATENT", "LATENT"),
            place,
            output_names=results,
        ),
        definition(
            "SamplerCustomAdvanced",
            sample_guided,
            {
                "noise": socket("NOISE"),
                "guider": socket("GUIDER"),
                "sampler": socket("SAMPLER"),
                "sigmas": socket("SIGMAS"),
                "latent_image": latent,
            },
            ("LATENT", "LATENT"),
            place,
            output_names=results,
        ),
    ]
